"""Tasks with one right answer: compositional languages, what they keep from training, and their tokens."""

from scaling.data.tasks.task import Task, TaskSequences, open_task

__all__ = ["Task", "TaskSequences", "open_task"]
