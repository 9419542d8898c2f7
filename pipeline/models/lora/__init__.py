"""Serving any mix of regions in one forward pass.

`factors` says what an adapter amounts to, `slots` which adapters are ready to answer and within which memory,
`forward` runs the pass, and `answers` mixes what the route asks for.
"""
