"""Making a trained student smaller, and saying what that costs in loss."""
