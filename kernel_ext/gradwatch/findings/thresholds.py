"""From where on something is a finding. Each default says where it comes from; all can be set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What `find` takes as wrong. A field's comment gives its unit and its source."""

    retained_graphs: int = 3
    """Graphs of past steps alive at once. Training needs two at most: a GAN's other loss, a state carried one step."""
    retained_growth: float = 0.05
    """Graphs more per step. A leak makes one a step or a few an epoch; caches of a bounded size stop growing."""
    vanishing: float = 1e-4
    """Gradient at the first of a chain of modules over that at its last. Glorot and Bengio 2010: it should be 1, and
    sigmoid nets that do not train have 1e-1 to 1e-2 over five layers; the limit is ours, for deep ones."""
    vanishing_in_time: float = 1e-7
    """The same over the calls of one module in a step: below float32's epsilon the early calls' part of a shared
    weight's gradient is lost in rounding (Bengio et al. 1994, Pascanu et al. 2013 say why it happens)."""
    exploding: float = 1e4
    """The same the other way (Pascanu et al. 2013); batch norm alone makes 1.2 per layer (Yang et al. 2019)."""
    exploding_in_steps: float = 1e3
    """Gradient norm of the last quarter of steps over that of the first, where the loss grows as well. Ours."""
    dead_units: float = 0.4
    """Share of a layer's units whose bias has had a gradient of 0 in every step of a window. cs231n: "as much as 40 %
    of your network can be dead if the learning rate is set too high"."""
    saturated: float = 0.75
    """Share of an activation's elements that keep a twentieth of their gradient at most. Glorot and Bengio 2010 show
    layers that stop learning with the larger part saturated; the limit is ours."""
    update_high: float = 0.1
    """||update|| / ||weight|| of all weights together. Karpathy (cs231n, "ratio of weights:updates"): about 1e-3;
    a hundred times that rewrites the net every ten steps."""
    update_low: float = 1e-7
    """The same: below float32's epsilon of 1.2e-7 an update is rounded away."""
    decay: float = 0.95
    """Share of the update that only shrinks the weights. Ours: a gradient at right angles to the weights gives 0."""
    noise: float = 100.0
    """Noise over signal: batches that would have to be averaged until both are equal, the "simple noise scale" of
    McCandlish et al. 2018 in batches. They find training slowed by noise from about 1 on; ours tells of the extreme."""
    drowned: float = 1e-3
    """Norm of one gradient at a fan-in over the largest there: beneath it a branch changes nothing. Ours."""
    conflict: float = -0.5
    """Cosine of the gradients of two losses. Yu et al. 2020 (PCGrad) call everything below 0 a conflict."""
    held_bytes: int = 1 << 20
    """Bytes of saved tensors that are worth a word: a change for less than a MiB is no saving on any device. Ours."""
    held_share: float = 0.1
    """Share of the bytes held at the peak from which on one cause is told of. Ours."""
    wasted_share: float = 0.3
    """Share of the peak that is wasted without doubt from which on it is a warning: a third more of a batch would
    fit. Ours."""
    what_if_bytes: int = 8 << 20
    """Peak from which on changes are estimated: smaller models fit anywhere. Ours."""
    what_if_share: float = 0.05
    """Share of the peak that a change must free to be told of. Chen et al. 2016 trade a third more forward time
    for most of it; a twentieth is not worth a recomputation. Ours."""
    what_if_shown: int = 3
    """Changes of one kind that are told of, those that free most."""
    fragmented_share: float = 0.5
    """What the allocator holds free, over what was asked for, from which on fragmentation is spoken of. Ours."""
    stale_applied: int = 2
    """Steps at which an optimizer used a gradient that no backward call had written since. Once may be a last batch."""
    stale_steps: int = 10
    """Steps without a gradient, of a parameter that had some: a branch taken now and then comes back sooner."""
    zero_steps: int = 3
    """Steps with nothing but zeros. At first they are right: LoRA's A, and residuals that begin at 0."""
    zero_steps_after_others: int = 20
    """The same, of a gradient that was not zero before: a loss that is met (a margin) rests a while."""
    skipped_in_a_row: int = 10
    """Steps that a GradScaler leaves out. It starts at 65,536 (torch's default) and halves: 10 of them leave 64."""
    underflow_share: float = 0.5
    """Of a float16 gradient: the share of zeros and subnormals from which on most digits are lost (Micikevicius et al.
    2018, "Mixed Precision Training", section 3.2: half of a network's gradients there, and the loss diverged)."""
