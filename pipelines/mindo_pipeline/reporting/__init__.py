"""`mindo report`: health and conversations as one HTML file."""
