"""Networks: a picture in, features out. No network has a head."""
