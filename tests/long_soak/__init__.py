"""A pipeline as a user runs it, for minutes or hours, with everything at once that months bring one by one."""
