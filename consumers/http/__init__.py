"""Parts of every HTTP service: limits, strict bodies, errors, health, tokens, and the process around them."""
