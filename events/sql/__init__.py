"""Every raw statement of this app, one per function, named after what it does."""
