"""Finding one instance among images: ground truths, image sizes, descriptors."""
