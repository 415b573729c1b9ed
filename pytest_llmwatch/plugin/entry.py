"""What pytest loads at start-up: as little as possible."""
