"""The loop around any model: order of data, resume, hours, progress."""
