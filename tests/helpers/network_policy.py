"""Network policies as a CNI applies them: what may talk to what (networking.k8s.io/v1).

A connection passes when the policies of the sender's namespace let it out and those of the receiver's let it in. A pod
that no policy selects for a direction is open in that direction; else one rule of one of its policies has to match.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A pod, or with an empty namespace a host outside the pods' network.

    Attributes:
        labels: of the pod; Kubernetes labels its namespace with kubernetes.io/metadata.name.
        address: where given, blocks of addresses are matched too, also for a pod, as some CNIs do.
    """

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""


def allowed(policies: list[Document], source: Place, to: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is let out and in."""
    return all(
        _open(policies, here, direction, other, port, protocol)
        for here, direction, other in ((source, "Egress", to), (to, "Ingress", source))
        if here.namespace
    )


def _open(policies: list[Document], here: Place, direction: str, other: Place, port: int, protocol: str) -> bool:
    chosen = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == here.namespace
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], here.labels)
    ]
    side, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    rules = [rule for policy in chosen for rule in policy["spec"].get(side) or ()]
    return not chosen or any(
        (not rule.get(peers) or any(_is_peer(peer, other, here.namespace) for peer in rule[peers]))
        and (not rule.get("ports") or any(_is_port(entry, port, protocol) for entry in rule["ports"]))
        for rule in rules
    )


def _is_peer(peer: Document, other: Place, namespace: str) -> bool:
    if block := peer.get("ipBlock"):
        if not other.address:
            return False
        address = ip_address(other.address)
        excluded = any(address in ip_network(cidr) for cidr in block.get("except", ()))
        return address in ip_network(block["cidr"]) and not excluded
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != namespace:
        return False
    return selects(peer.get("podSelector", {}), other.labels)


def _is_port(entry: Document, port: int, protocol: str) -> bool:
    first = entry.get("port")
    return entry.get("protocol", "TCP") == protocol and (
        first is None or int(first) <= port <= int(entry.get("endPort", first))
    )


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector matches. An empty one matches everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        key, operator, values = expression["key"], expression["operator"], expression.get("values", ())
        matches = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not matches[operator]:
            return False
    return True
