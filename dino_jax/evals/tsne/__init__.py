"""Maps of classes or images in two dimensions."""
