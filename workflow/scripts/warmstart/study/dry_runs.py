"""What a dry run cannot know, said at its end."""

from collections.abc import Mapping

NOT_LISTED = (
    "Jobs are counted and not listed here, because `quiet: rules` is set (by the profile); "
    "`--quiet reason` lists them."
)


def upper_bound(perhaps: Mapping[str, int], jobs: int) -> str:
    """The note on jobs that are planned only because a file before them is made again.

    Args:
        perhaps: rule -> jobs whose outputs are all there, and which nothing else makes stale.
        jobs: all that are planned.
    """
    count = sum(perhaps.values())
    named = ", ".join(f"{rule} {number}" for rule, number in sorted(perhaps.items()))
    return (
        f"This is an upper bound: {count} of these {jobs} jobs ({named}) are planned only because "
        "a file that they read is made again. Where it comes out the same, a training takes back "
        "its model and a decode its hypotheses within seconds, and nothing is trained or decoded."
    )
