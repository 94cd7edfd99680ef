"""The images that a frozen graph is fed, and values of its other placeholders."""
