"""`GET /regions`, `GET /regions/{id}`: what is live, and how it does."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request

from consumers.server.live import View
from consumers.server.service import Service
from pipeline.errors import StoreError
from pipeline.regions import Region

router = APIRouter(tags=["regions"])


@router.get("/regions")
def regions(request: Request) -> dict[str, Any]:
    """Every live region, and the revision that they are of."""
    service: Service = request.app.state.service
    view = service.live.view
    live = [_summary(region, view, service) for region in view.bank.live]
    return {"revision": view.revision, "gate_version": view.bank.gate_version, "regions": live}


@router.get("/regions/{region_id}")
def region(region_id: int, request: Request) -> dict[str, Any]:
    """One region, ended ones included: where it lies, what answers for it, its versions and hit rates."""
    service: Service = request.app.state.service
    view = service.live.view
    found = next((r for r in view.bank.regions if r.region_id == region_id), None)
    if found is None:
        raise HTTPException(404, f"there is no region {region_id}")
    edits = [edit["edit_id"] for edit in list(service.knowledge.edits.values()) if edit["region_id"] == region_id]
    return {
        **_summary(found, view, service),
        "centroid": found.centroid.tolist(),
        "concentration": found.concentration,
        "manifest": _manifest(found.adapter, service),
        "versions": service.store.names(region_id),
        "edits": edits,
    }


def _summary(region: Region, view: View, service: Service) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "version": region.version,
        "status": str(region.status),
        "origin": region.origin,
        "parent": region.parent,
        "radius": region.radius,
        "prior": region.prior,
        "trust": region.trust,
        "adapter": region.adapter,
        "refused": view.fallen.get(region.region_id),
        "pinned": service.live.pins.get(region.region_id),
        "hit_rates": service.tally.of_region(region.region_id),
    }


def _manifest(adapter: str | None, service: Service) -> dict[str, Any] | None:
    if adapter is None:
        return None
    try:
        return service.store.show(adapter).model_dump()
    except StoreError as error:
        return {"refused": str(error)}
