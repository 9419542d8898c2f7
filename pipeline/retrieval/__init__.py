"""Search over a large catalogue: which items a model scores highest, without scoring all of them."""
