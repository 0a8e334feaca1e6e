"""Programs that change a saved tensor before backward, which autograd notices."""

from __future__ import annotations

import torch
from torch import nn

from transparency_cases import Cases, Exponential, Square, leaf

IN_PLACE = Cases()

# Changes of saved tensors


@IN_PLACE.add
def saved_result_of_exp() -> object:
    y = leaf(2, 3).exp()
    y.mul_(2)
    return y.sum().backward()


@IN_PLACE.add
def saved_input_of_mul() -> object:
    x, y = leaf(3), leaf(3) + 0
    z = x * y
    y.add_(1)
    return z.sum().backward()


@IN_PLACE.add
def weight_of_matmul() -> object:
    x, weight = leaf(2, 3), nn.Parameter(torch.rand(3, 4))
    y = x @ weight
    with torch.no_grad():
        weight.mul_(2)
    return y.sum().backward()


@IN_PLACE.add
def weight_of_linear_by_an_optimizer() -> object:
    layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
    loss = layers(torch.ones(2, 3)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    return loss.backward()


@IN_PLACE.add
def factors_of_svd() -> object:
    _, s, v = torch.linalg.svd(leaf(3, 3), full_matrices=False)
    v.zero_()
    return (s.sum() + v.sum()).backward()


@IN_PLACE.add
def result_of_softmax() -> object:
    y = leaf(2, 3).softmax(-1)
    y[0] = 0
    return y.sum().backward()


@IN_PLACE.add
def indices_of_max() -> object:
    values, indices = leaf(2, 3).max(1)
    indices.zero_()
    return values.sum().backward()


@IN_PLACE.add
def index_of_gather() -> object:
    index = torch.zeros(2, 1, dtype=torch.long)
    y = leaf(2, 3).gather(1, index)
    index.add_(1)
    return y.sum().backward()


@IN_PLACE.add
def view_of_a_saved_tensor() -> object:
    x = leaf(2, 3) + 0
    y = x.sin()
    x.view(-1)[0] = 1
    return y.sum().backward()


@IN_PLACE.add
def detached_alias_of_a_saved_tensor() -> object:
    x = leaf(2, 3) + 0
    y = x.square()
    x.detach().zero_()
    return y.sum().backward()


@IN_PLACE.add
def input_of_a_convolution() -> object:
    x = torch.rand(1, 1, 4, 4)
    y = nn.Conv2d(1, 2, 3)(x)
    x.zero_()
    return y.sum().backward()


@IN_PLACE.add
def result_of_sigmoid_in_place() -> object:
    y = (leaf(3) + 0).sigmoid_()
    y.relu_()
    y.add_(1)
    return y.sum().backward()


@IN_PLACE.add
def tensor_saved_by_a_custom_function() -> object:
    x = leaf(3) + 0
    y = Square.apply(x)
    x.add_(1)
    return y.sum().backward()


@IN_PLACE.add
def output_saved_by_a_custom_function() -> object:
    y = Exponential.apply(leaf(3))
    y.add_(1)
    return y.sum().backward()


@IN_PLACE.add
def list_of_saved_tensors() -> object:
    parts = [leaf(2) + 0, leaf(2) + 0]
    product = torch.linalg.multi_dot([parts[0], torch.rand(2, 2), parts[1]])
    parts[1].zero_()
    return product.sum().backward()


@IN_PLACE.add
def hidden_state_of_a_cell() -> object:
    cell = nn.GRUCell(2, 2)
    hidden = cell(torch.rand(1, 2), torch.zeros(1, 2))
    after = cell(torch.rand(1, 2), hidden)
    hidden.zero_()
    return after.sum().backward()


@IN_PLACE.add
def batch_norm_of_two_calls() -> object:
    norm = nn.BatchNorm1d(3)
    norm.eval()
    loss = norm(leaf(4, 3)).sum()
    norm.running_mean.add_(1)  # type: ignore[union-attr]  # batch norm has it
    return loss.backward()


@IN_PLACE.add
def the_second_call_under_retain_graph() -> object:
    x = leaf(3) + 0
    y = x.exp().sin()
    y.sum().backward(retain_graph=True)
    x.add_(1)
    z = x.square()
    x.add_(1)
    y.sum().backward()
    return z.sum().backward()


@IN_PLACE.add
def result_of_an_op_of_several_forms() -> object:
    means = leaf(3, 3).mean(1)
    y = means.square()
    means.detach().zero_()
    return y.sum().backward()


@IN_PLACE.add
def changed_by_a_foreach_op() -> object:
    several = [leaf(3).clone() for _ in range(2)]
    y = several[0].square() + several[1].square()
    torch._foreach_add_(several, 1.0)  # pyright: ignore[reportPrivateImportUsage] # optimizers call it
    return y.sum().backward()


@IN_PLACE.add
def result_of_a_custom_function() -> object:
    x = Square.apply(leaf(3))
    y = x.exp() * x.square()
    x.detach().add_(1)
    return y.sum().backward()
