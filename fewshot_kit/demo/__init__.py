"""What a panel does, without a widget in it."""
