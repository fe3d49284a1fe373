"""What a student minimises: one file a distillation recipe, found by the ``kind`` of its specification."""
