"""PPO's clipped ratio with a value head, an entropy bonus and advantages made without a graph."""

import torch
from torch import nn
from torch.distributions import Categorical

from zoo.expected import Silence

EXPECTED = Silence()


class Agent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.policy, self.value = nn.Linear(32, 2), nn.Linear(32, 1)

    def forward(self, state: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        x = self.body(state)
        return Categorical(logits=self.policy(x)), self.value(x).squeeze(-1)


def train() -> None:
    torch.manual_seed(0)
    agent = Agent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
    for _ in range(4):
        states = torch.randn(64, 4)
        with torch.no_grad():
            policy, values = agent(states)
            actions = policy.sample()
            before = policy.log_prob(actions)
            returns = (actions == (states[:, 0] > 0)).float()
            advantages = returns - values
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for _ in range(4):
            policy, values = agent(states)
            ratio = (policy.log_prob(actions) - before).exp()
            clipped = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
            loss = -clipped.mean() + 0.5 * (values - returns).square().mean() - 0.01 * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
