"""The options of training without pairs, `ddbm train A B --task schrodinger`."""

from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field

UNPAIRED = "Without pairs (--task schrodinger)"

Coupling = Annotated[
    str,
    Field(
        "Pairs of the first round: independent images of A and B; ot, those of optimal transport in a batch; or "
        "reference, each image and the end of the reference process that begins there, with which the later rounds "
        "are iterative proportional fitting (IPF).",
        metavar="NAME:FIELD=VALUE",
        names="couplings",
        panel=UNPAIRED,
    ),
]

Matching = Annotated[
    Literal["bridge", "mean"],
    Field(
        "What is kept of simulated trajectories: bridge keeps their ends, with the reference's bridge between them "
        "(DSBM); mean keeps whole trajectories, which take more room, and fits the mean of each step back (DSB).",
        metavar="NAME",
        panel=UNPAIRED,
    ),
]

Rounds = Annotated[
    int | None,
    Field(
        "Number of rounds. In each after the first, the pairs are simulated with the weights that it begins with. "
        "It sets --steps.",
        ge=1,
        le=10_000,
        unset="as many as --steps has",
        panel=UNPAIRED,
    ),
]

RoundSteps = Annotated[int, Field("Steps of a round.", ge=1, le=2**31, panel=UNPAIRED)]

FirstRoundSteps = Annotated[
    int | None,
    Field("Steps of the first round.", ge=1, le=2**31, unset="those of four rounds", panel=UNPAIRED),
]

SimulationSteps = Annotated[
    int, Field("Network evaluations with which an end of a pair is simulated.", ge=1, le=10_000, panel=UNPAIRED)
]

CachePairs = Annotated[
    int,
    Field(
        "Largest number of simulated pairs of a round. They are kept in RUN/pairs, and used again for the other steps "
        "of the round.",
        ge=1,
        le=2**31,
        panel=UNPAIRED,
    ),
]

Networks = Annotated[
    Literal["one", "two"],
    Field(
        "Networks of the two directions: one for both, with an embedding of the direction, or two.",
        metavar="NUMBER",
        panel=UNPAIRED,
    ),
]

UNPAIRED_OPTIONS = (
    *("coupling", "matching", "rounds", "round_steps", "first_round_steps"),
    *("simulation_steps", "cache_pairs", "networks"),
)
"""The fields of these options in a request."""

FIRST_ROUNDS = 4
"""Length of the first round in other rounds, by default: it begins with new weights."""
