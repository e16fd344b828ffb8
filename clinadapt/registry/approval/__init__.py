"""People approve a version before it becomes the champion: records in the store, what they amount to, decisions."""
