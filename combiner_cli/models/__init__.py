"""Model families: how latents become samples. One module per family."""
