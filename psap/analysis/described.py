"""The abstract's statements that tell how the method works, not what it gains: why no number of a suite tests them."""

from psap.analysis.results import Results


def described(results: Results) -> list[dict[str, str]]:
    """`id`, `statement` and `reason` of each: what a test would need, and what the suite has of it."""
    suite = results.suite
    method = suite.claims.method
    own = results.history[results.history["method"] == method]
    steps = own.groupby("run")["step"].nunique()
    if steps.empty:
        counted = f"No run of {method} with a pruning history is committed."
    else:
        least, most = int(steps.min()), int(steps.max())
        times = f"{least}" if least == most else f"{least} to {most}"
        alone = int((steps == 1).sum()) or "none"
        counted = f"The suite's {len(steps)} runs of {method} took {times} pruning steps; {alone} of them pruned once."
    return [
        {
            "id": "S1",
            "statement": "Filters are pruned in an iterative prune-train process, and what is studied is how pruned "
            "weights are reconstructed between the steps.",
            "reason": f"This says how the method works. A test needs the same method with one step next to it with "
            f"several. {counted}",
        },
        {
            "id": "S4",
            "statement": "It depends on the model's own weights and gradients only: no agent, no meta-network.",
            "reason": f"This says what the method does without. A test needs a method that has an agent or a "
            f"meta-network; of the suite's {len(suite.all_methods)} methods, none has.",
        },
    ]
