//! The `ServiceNow` instances: whether each can be reached, and how it fared.

use super::{Finding, Ward, each};
use crate::hub::obstacles::is_obstacle;
use crate::net::{self, InstanceUrl};
use crate::store::instances as store;
use crate::store::sealed::{self, SealedTable};

const AREA: &str = "instance";

/// Looks at every instance.
pub(super) async fn instances(ward: &Ward) -> Vec<Finding> {
    let found =
        each(AREA, sealed::all(&ward.db, SealedTable::Instances).await, |id| instance(ward, id)).await;
    if found.is_empty() {
        return vec![Finding::yellow(AREA, "none is set up: POST one to /api/servicenow-details/")];
    }
    found
}

async fn instance(ward: &Ward, id: String) -> Vec<Finding> {
    let row = match store::by_id(&ward.db, &id).await {
        Ok(Some(row)) => row,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![super::unreadable(AREA, &error.into())],
    };
    let name = row.instance_url.as_str();
    let reached = match net::parse_instance_url(name, ward.settings.reach) {
        Ok(url) => reach(ward, &url).await,
        Err(problem) => Err(problem.to_string()),
    };
    let mut found = vec![match reached {
        Ok(()) => status(name, &row.status, &row.status_detail),
        Err(reason) => Finding::red(AREA, format!("{name}: {reason}")),
    }];
    match store::counts(&ward.db, &id).await {
        Ok((n_queued, n_dead)) if n_dead > 0 => {
            let text = format!(
                "{name}: {n_dead} dead letters, {n_queued} queued: look at `casewire deliveries list --status dead --instance {id}`"
            );
            found.push(Finding::yellow(AREA, text));
        }
        Ok((n_queued, _)) if n_queued > 0 => {
            found.push(Finding::green(AREA, format!("{name}: {n_queued} queued")));
        }
        Ok(_) => {}
        Err(error) => found.push(super::unreadable(AREA, &error.into())),
    }
    found
}

/// Any answer at all will do: logging in could lock the user out.
async fn reach(ward: &Ward, url: &InstanceUrl) -> Result<(), String> {
    net::resolve(url.host(), url.port(), ward.settings.reach).await.map_err(|error| error.to_string())?;
    let asked = ward.guarded.get(url.call(&[], &[])).send().await;
    asked.map(drop).map_err(|error| net::failure_of(&error).detail)
}

fn status(name: &str, status: &str, detail: &str) -> Finding {
    let because = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    match status {
        "ok" => Finding::green(AREA, format!("{name}: reachable, last call went well")),
        "unchecked" => Finding::green(AREA, format!("{name}: reachable, nothing delivered yet")),
        "needs_auth" if is_obstacle(detail) => Finding::red(AREA, format!("{name}: {detail}")),
        "needs_auth" => {
            let text = format!("{name}: its credentials are refused; enter them again{because}");
            Finding::red(AREA, text)
        }
        other => Finding::yellow(AREA, format!("{name}: reachable now, last seen {other}{because}")),
    }
}
