"""Deep supervision: where its heads are, and its loss by hand."""

import torch
from deep_supervision import DeepLoss, with_coarse_heads

from custom_networks.networks import ContextNet25D
from custom_networks.training import OrganTumorLoss


def network() -> ContextNet25D:
    return ContextNet25D(1, 3, channels=(4, 8, 8, 8, 8), aspp_channels=8)


def test_heads_are_made_on_the_networks_device() -> None:
    deep = with_coarse_heads(network().to("meta"))  # as a GPU would be: not where tensors are made by default
    assert {parameter.device.type for parameter in deep.coarse_heads.parameters()} == {"meta"}
    assert [head.weight.shape[:2] for head in deep.coarse_heads] == [(3, 8), (3, 8)]


def test_loss_is_the_weighted_mean_of_the_output_and_both_coarser_levels() -> None:
    torch.manual_seed(0)
    deep = with_coarse_heads(network()).train()
    for head in deep.coarse_heads:  # each level answers with even odds for every class
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    image, target = torch.rand(1, 1, 32, 32, 2), torch.zeros(1, 1, 32, 32, 2)
    target[:, :, 8:24, 8:24] = 1
    logits, plain = deep(image), OrganTumorLoss()
    coarse = [plain(torch.zeros(1, 3, 32 // n, 32 // n, 2), target[:, :, ::n, ::n]) for n in (2, 4)]
    expected = (plain(logits, target) + 0.5 * coarse[0] + 0.25 * coarse[1]) / 1.75
    torch.testing.assert_close(DeepLoss(deep)(logits, target), expected)
