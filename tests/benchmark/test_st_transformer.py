import pytest
import torch

from mne_specmoe.benchmark.st_transformer import ChannelAttention, STTransformer


@pytest.mark.parametrize(("n_chans", "n_times"), [(1, 800), (14, 803), (64, 200)])
def test_one_row_of_outputs_per_window(n_chans, n_times):
    outputs = STTransformer(n_chans, 3, n_times)(torch.randn(2, n_chans, n_times))
    assert outputs.shape == (2, 3)
    assert outputs.isfinite().all()


def test_windows_do_not_see_each_other_in_evaluation():
    network = STTransformer(4, 2, 400).eval()
    x = torch.randn(5, 4, 400)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_attention_is_over_channels():
    attention = ChannelAttention(3).eval()
    with torch.no_grad():
        for layer in (attention.query, attention.key):
            layer.weight.copy_(100 * torch.eye(3))
            layer.bias.zero_()
        attention.value.weight.copy_(torch.eye(3))
        attention.value.bias.zero_()
    # Rows 0 and 1 are slow and alike, row 2 is unlike them: the first two look at each other, the third at itself.
    time = torch.arange(400) / 200
    slow, other = torch.sin(2 * torch.pi * time), torch.cos(2 * torch.pi * time)
    x = torch.stack([slow, slow, 2 * other])[None]
    torch.testing.assert_close(attention(x), x + x, atol=1e-4, rtol=1e-4)


def test_learns_eight_windows_by_heart():
    torch.manual_seed(0)
    network = STTransformer(3, 2, 200, drop_prob=0.0)
    network.spatial.dropout.p = 0.0
    x, y = torch.randn(8, 3, 200), torch.arange(8) % 2
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for _ in range(80):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_every_parameter_is_trained():
    network = STTransformer(3, 2, 200)
    network(torch.randn(4, 3, 200)).square().sum().backward()
    still = [name for name, value in network.named_parameters() if value.grad is None]
    assert not still


def test_a_window_has_to_hold_a_slice():
    with pytest.raises(ValueError, match="5 samples or more, got n_times=4"):
        STTransformer(3, 2, 4)
