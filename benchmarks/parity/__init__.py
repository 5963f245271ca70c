"""Models of other libraries against ours, with the same weights: logits and gradients in float32."""
