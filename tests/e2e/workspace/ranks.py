"""Two processes of a training run below the one that started them."""

import multiprocessing
import os

import torch


def work(rank: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    weight = torch.full((3,), float(rank + 1), requires_grad=True)
    loss = weight.square().sum()
    loss.backward()
    print("rank", rank, weight.grad)  # LINE in rank


def main() -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
