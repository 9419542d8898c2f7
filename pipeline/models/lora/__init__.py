"""LoRA adapters: trained one at a time, and served for any mix of regions in one forward pass.

`peft_slot` puts an adapter on a backbone through peft, and `host` keeps those that take turns there. For serving,
`factors` holds an adapter in a form that can be stacked, `slots` keeps adapters ready within a memory budget,
`item_deltas` and `sparse` hold their item rows, `layers` has the linear layers that apply the factors, and
`batched_forward` runs the pass.
"""
