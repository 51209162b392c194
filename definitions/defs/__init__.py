"""What ``dg scaffold defs`` adds to this location."""
