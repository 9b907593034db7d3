"""How allocators say that there is no room. Standard library only."""

# Beside MemoryError; torch's class for GPUs is a RuntimeError with these words.
_SAYINGS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is some allocator's way to say that there is no room."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in _SAYINGS)
