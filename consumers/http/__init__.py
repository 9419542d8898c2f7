"""Parts of every HTTP service: limits, strict bodies, errors, health, access, and the process around them."""
