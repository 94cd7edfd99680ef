"""Image files -> RGB pixels, by the rules of label_image/images: the same modules, in Python."""
