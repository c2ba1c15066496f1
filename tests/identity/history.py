# SPDX-License-Identifier: ISC
"""Random histories: lists of steps, (name, number, ...), with all numbers
drawn beforehand."""

import random

from server import Traits

# What may happen between two runs, and how often beside the others.
EVENTS = {
    "new": 6, "twin": 2, "copy": 2, "reuse": 2, "replace": 2, "share": 1,
    "swap": 1, "remove": 3, "clear": 1, "hide": 1, "show": 2, "renumber": 2,
    "status": 2, "move": 1,
    "server": 2, "rc": 3, "lose": 1, "tear": 1, "read": 1, "days": 2,
    "month": 0.04,
}

TROUBLES = ("cut", "reset", "kill", "kill-at", "lost", "unconfirmed", "dele",
            "retr", "top")

RC = {
    "keep": ("on", "off", "off", "3d"),
    "pipelining": ("auto", "off", "on"),
    "order": ("oldest", "newest"),
    "max_messages": ("off", "off", "2"),
}


def draw(rng, name):
    return (name, rng.random(), rng.random(), rng.random())


def draw_trouble(rng, share):
    """How a run is disturbed: (what, number)."""
    if rng.random() >= share:
        return ("none", 0)
    what = rng.choice(TROUBLES)
    if what in ("cut", "reset", "kill"):
        return (what, rng.choice((rng.randint(1, 400), rng.randint(1, 6000))))
    return (what, rng.randint(1, 30) if what == "kill-at" else
            rng.randint(0, 4))


def draw_history(seed):
    """Each history has favourites among what may happen."""
    rng = random.Random(seed)
    weights = {name: weight * rng.choice((0, 0.3, 1, 1, 4))
               for name, weight in EVENTS.items()}
    weights["new"] += 1
    trouble = rng.choice((0, 0.2, 0.5))
    steps = [draw(rng, "server") for _ in range(rng.choice((0, 0, 1, 2)))]
    steps += [draw(rng, "rc") for _ in range(rng.choice((0, 1, 2)))]
    steps += [draw(rng, "new") for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.15:
        steps.append(draw(rng, "mpop"))
        steps += [draw(rng, "new") for _ in range(rng.randint(0, 2))]
    for _ in range(rng.randint(2, 8)):
        steps.append(("run",) + draw_trouble(rng, trouble))
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 5))):
            name, = rng.choices(list(weights), list(weights.values()))
            steps.append(draw(rng, name))
    return steps


def change_traits(traits, a, b, c):
    """Half of the servers are as good as any; a change of one trait else."""
    if a < 0.3:
        return Traits()
    name = ("uidl", "top", "capa", "pipelining", "sizes", "gap", "off",
            "backwards")[int(b * 8)]
    if name == "gap":
        traits.gap = 1 + int(c * 4)
    elif name == "off":
        traits.off = (-3, 0, 40, 200)[int(c * 4)]
    else:
        setattr(traits, name, not getattr(traits, name))
    # Nobody could tell the numbers without any listing.
    if not (traits.uidl or traits.sizes):
        traits.gap = 1
    return traits


def change_rc(rc, a, b, _):
    name = sorted(RC)[int(a * len(RC))]
    rc[name] = RC[name][int(b * len(RC[name]))]
