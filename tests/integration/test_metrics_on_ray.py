"""What an endpoint counts, as Prometheus reads it from Ray."""

import time
import urllib.request

import ray


@ray.remote(num_cpus=0)
class Replica:
    """A process of the cluster that counts one request."""

    def count(self) -> None:
        from serve.metrics import ray_exporter

        exporter = ray_exporter()
        assert exporter is not None
        exporter.add("bigmodel_requests_total", 2, ("/v1/classify", "reviews", "7", "200"))
        exporter.add("bigmodel_predictions_total", 3, ("reviews", "7", "正面"))
        exporter.observe("bigmodel_request_seconds", [0.004, 0.3], ("/v1/classify",))
        exporter.set("bigmodel_inflight", 1, ())


def scraped() -> str:
    """What the node shows to Prometheus at the moment."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def test_ray_shows_the_sums_with_chinese_labels(ray_local: None) -> None:
    replica = Replica.remote()
    ray.get(replica.count.remote())
    deadline = time.monotonic() + 60
    found = ""
    while "bigmodel_inflight" not in found:
        assert time.monotonic() < deadline, "Ray doesn't show the metrics"
        time.sleep(0.5)
        found = scraped()
    lines = {line.partition("{")[0]: line for line in found.splitlines() if "bigmodel_" in line}
    requests = lines["ray_bigmodel_requests_total"]
    assert 'route="/v1/classify"' in requests and 'status="200"' in requests
    assert requests.endswith(" 2.0")
    assert 'label="正面"' in lines["ray_bigmodel_predictions_total"]
    assert lines["ray_bigmodel_request_seconds_count"].endswith(" 2.0")
