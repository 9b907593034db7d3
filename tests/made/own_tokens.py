"""A family whose models bring their tokenizer, as far as a dry run asks it."""

from warmstart.models import Kind
from warmstart.models.base import Family

KIND = Kind(
    target="made.own_tokens:OwnTokens",
    about="nothing that is ever built",
    tokenizer="own",
    offers=frozenset({"linears", "shared_tokens", "distils", "gates"}),
)
NO_GATES = Kind(
    target="made.own_tokens:OwnTokens",
    about="nothing that is ever built, and that tells no languages",
    tokenizer="own",
    offers=frozenset({"linears", "shared_tokens"}),
)


class OwnTokens(Family):
    def read_donor(self, path):
        raise NotImplementedError

    def build(self, *arguments, **options):
        raise NotImplementedError

    def load(self, path, device="cpu"):
        raise NotImplementedError
