//! The fence agents of this node, for a command that asks for them where no ricci runs (`ccs --lsfenceopts`).

use std::path::PathBuf;

use shared::agents::metadata::AgentClass;
use shared::api::AgentSummary;

use super::Catalogue;
use crate::secrets::Secrets;

/// Names another folder of fence agents than [`FENCE_DIR`], as it does for ricci.
const FENCE_DIR_VARIABLE: &str = "RICCI_FENCE_DIR";
const FENCE_DIR: &str = "/usr/sbin";

/// What each agent says of itself; every one is asked that is not known yet. `kept` is where what they said is kept for
/// the next time.
pub(crate) async fn fence_agents(kept: PathBuf) -> Vec<AgentSummary> {
    catalogue(kept).list_all(AgentClass::Fence).await
}

/// The metadata of one agent, or why there is none.
pub(crate) async fn fence_agent(kept: PathBuf, name: &str) -> Result<String, String> {
    match catalogue(kept).metadata(AgentClass::Fence, name).await {
        Ok(metadata) => Ok(metadata.xml),
        Err(error) => Err(error.told()),
    }
}

fn catalogue(kept: PathBuf) -> Catalogue {
    let folder = std::env::var_os(FENCE_DIR_VARIABLE).map_or_else(|| PathBuf::from(FENCE_DIR), PathBuf::from);
    // No resource agent is asked for.
    Catalogue::new(PathBuf::new(), folder, kept, Secrets::default())
}
