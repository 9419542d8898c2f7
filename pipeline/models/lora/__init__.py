"""LoRA adapters: trained one at a time, and served for any mix of regions in one forward pass.

`host` puts adapters on a backbone through peft. For serving, `factors` holds an adapter in a form that can be stacked,
`slots` keeps adapters ready within a memory budget, `item_deltas` and `sparse` hold their item rows, `layers` has the
linear layers that apply the factors, and `batched_forward` runs the pass.
"""
