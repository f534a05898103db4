//! The OpenAPI document, made from the table of routes. Bodies are described as far as a caller fills them in; what
//! comes from rgmanager is described by the name of its type.

use serde_json::{Map, Value, json};

use super::routes::{Access, Spec, table};

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for spec in table().iter().map(|route| route.spec) {
        let entry = paths.entry(spec.path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(spec.method.name().to_owned(), operation(&spec));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ricci",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One node of a cluster. TLS with a client certificate pinned by pairing.",
        },
        "paths": paths,
        "components": {
            "schemas": all_schemas(),
            "securitySchemes": {
                "pinned": { "type": "mutualTLS", "description": "A client certificate that was pinned by POST /v1/pair." }
            },
        },
    })
}

fn operation(spec: &Spec) -> Value {
    let parameters: Vec<Value> = spec
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let (status, answer) = spec.gives;
    let mut success = json!({ "description": "Success." });
    if let Some(schema) = answer {
        let media = if schema == "StreamItem" { "application/x-ndjson" } else { "application/json" };
        success["content"] = json!({ media: { "schema": reference(schema) } });
    }
    let mut operation = json!({
        "summary": spec.summary,
        "parameters": parameters,
        "responses": {
            status.to_string(): success,
            "default": {
                "description": "What happened, to what, what to do next.",
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            },
        },
        "x-deadline-seconds": spec.deadline_s,
    });
    if let Some(schema) = spec.takes {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(schema) } } });
    }
    operation["security"] = match spec.access {
        Access::Anyone => json!([]),
        Access::Paired => json!([{ "pinned": [] }]),
    };
    operation
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An object with these required properties.
fn object(properties: Value) -> Value {
    let required: Vec<String> = properties.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn all_schemas() -> Value {
    let mut all = schemas();
    for more in [preview_schemas(), schemas_of_agents()] {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    }
    all
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let list = |schema: &str| json!({ "type": "array", "items": reference(schema) });
    let from_rgmanager = |what: &str| json!({ "type": "object", "description": what });
    let daemon = object(json!({
        "installed": flag(), "running": flag(), "enabled_at_boot": flag(), "version": { "type": ["string", "null"] },
    }));
    json!({
        "Alive": object(json!({ "program": text(), "version": text() })),
        "PairRequest": { "oneOf": [
            object(json!({ "with": { "const": "password" }, "password": text(), "label": text() })),
            object(json!({ "with": { "const": "token" }, "token": text(), "label": text() })),
        ] },
        "Paired": object(json!({ "hostname": text(), "boot_id": text(), "cluster": { "type": ["string", "null"] } })),
        "DaemonState": daemon,
        "ConfOnDisk": object(json!({ "cluster": text(), "version": number(), "digest": text() })),
        "HostOperation": object(json!({
            "kind": { "enum": ["start", "stop", "reboot"] }, "origin": text(), "since_ms": number(),
            "ended_ms": { "type": ["integer", "null"] }, "failure": { "type": ["string", "null"] },
        })),
        "NodeReport": object(json!({
            "hostname": text(), "boot_id": text(), "ricci_version": text(), "uptime_s": number(),
            "corosync": reference("DaemonState"), "rgmanager": reference("DaemonState"),
            "conf": { "oneOf": [reference("ConfOnDisk"), { "type": "null" }] },
            "has_corosync_key": flag(),
            "secrets_missing": json!({ "type": "array", "items": text() }), "fence_key": json!({ "type": ["string", "null"] }),
            "operation": { "oneOf": [reference("HostOperation"), { "type": "null" }] },
            "watches": list("Watch"),
        })),
        "Watch": object(json!({
            "source": { "enum": ["cgroups", "processes", "addresses", "mounts", "units"] },
            "missing": { "type": ["string", "null"] },
        })),
        "ClusterStatus": from_rgmanager("Nodes, services, quorum and fencing as the member sees them."),
        "StreamItem": from_rgmanager("One line: `whole`, `change` or `alive`, each with its position."),
        "Request": object(json!({ "id": text(), "origin": text(), "command": {
            "type": "object", "required": ["command"], "properties": { "command": { "enum": [
                "enable", "disable", "stop", "restart", "relocate", "migrate", "freeze", "unfreeze", "convalesce",
                "lock", "unlock", "fence", "acknowledge-fence", "standby", "unstandby",
            ] }, "service": text(), "on": text(), "by_domain": flag(), "to": text(), "node": text() },
        } })),
        "Answer": object(json!({ "answer": { "const": "accepted" } })),
        "Outcome": from_rgmanager("`code`, `owner` and `text`: what became of the request."),
        "ConfDocument": object(json!({ "version": number(), "digest": text(), "text": text() })),
        "PutConf": { "type": "object", "required": ["text", "origin"], "properties": {
            "text": text(), "origin": text(), "offline": flag(), "despite_agents": flag(),
        } },
        "ConfAccepted": { "type": "object", "required": ["version", "digest"], "properties": {
            "version": number(), "digest": text(), "findings": list("Finding"),
        } },
        "CheckConf": { "type": "object", "required": ["text"], "properties": { "text": text(), "agents": flag() } },
        "Place": object(json!({ "line": number(), "column": number(), "path": text() })),
        "Finding": object(json!({
            "rule": text(), "severity": { "enum": ["error", "warning", "info"] }, "place": reference("Place"),
            "text": text(), "hint": text(),
        })),
        "Checked": object(json!({ "findings": list("Finding") })),
        "CorosyncKey": object(json!({ "key_base64": text() })),
        "Secret": object(json!({ "value": text() })),
        "SecretNames": object(json!({ "present": json!({ "type": "array", "items": text() }), "missing": json!({ "type": "array", "items": text() }) })),
        "StartCluster": { "type": "object", "properties": { "enable": flag() } },
        "StopCluster": { "type": "object", "properties": { "disable": flag() } },
        "FenceTest": object(json!({
            "agent": text(), "action": { "enum": ["status", "monitor", "list", "validate-all"] },
            "arguments": { "type": "array", "items": { "type": "array", "items": text(), "minItems": 2, "maxItems": 2 } },
        })),
        "FenceTested": object(json!({
            "succeeded": flag(), "code": { "type": ["integer", "null"] }, "output": text(), "duration_ms": number(),
        })),
        "LogLine": object(json!({ "at_ms": number(), "program": text(), "text": text() })),
        "LogLines": list("LogLine"),
        "Problem": { "type": "object", "required": ["code", "text"], "properties": {
            "code": { "enum": [
                "bad-request", "not-paired", "pairing-refused", "too-many-attempts", "not-found", "refused", "findings",
                "cluster-not-running", "cluster-running", "timeout", "too-large", "internal",
            ] },
            "text": text(), "refusal": { "type": "object" }, "findings": list("Finding"), "node": text(),
        } },
    })
}

/// What a configuration would change.
fn preview_schemas() -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let from_rgmanager = |what: &str| json!({ "type": "object", "description": what });
    let list = |schema: &str| json!({ "type": "array", "items": reference(schema) });
    json!({
        "TreeDelta": object(json!({
            "stop": texts(), "start": texts(), "reconfigure": texts(), "keep": texts(),
        })),
        "ServiceDelta": object(json!({
            "name": text(),
            "change": { "type": "object", "required": ["kind"], "properties": {
                "kind": { "enum": ["added", "removed", "changed"] }, "starts": { "type": "boolean" },
            } },
            "attributes": { "type": "array", "items": object(json!({
                "name": text(), "old": { "type": ["string", "null"] }, "new": { "type": ["string", "null"] },
            })) },
            "tree": reference("TreeDelta"),
        })),
        "Explanation": from_rgmanager("`service`, `state`, `owner`, `reason`, its `tests`, and the same for every node."),
        "Explanations": list("Explanation"),
        "Assumption": { "oneOf": [
            object(json!({ "if": { "const": "request" }, "command": { "type": "object" } })),
            object(json!({ "if": { "const": "node-lost" }, "node": text() })),
            object(json!({ "if": { "const": "conf" }, "text": text() })),
        ] },
        "Prediction": from_rgmanager("`refused`, or `steps` in order and the `changes` that they come to."),
        "ConfPreview": object(json!({
            "against": json!({ "type": "integer" }),
            "delta": object(json!({ "services": list("ServiceDelta"), "domains": texts() })),
            "findings": list("Finding"),
        })),
    })
}

fn schemas_of_agents() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let list = |schema: &str| json!({ "type": "array", "items": reference(schema) });
    json!({
        "AgentSummary": object(json!({
            "name": text(), "short": text(), "version": { "type": ["string", "null"] },
            "digest": { "type": ["string", "null"] }, "problem": { "type": ["string", "null"] },
        })),
        "AgentSchema": agent_schema(),
        "ValidateAgent": object(json!({
            "parameters": { "type": "array", "items": { "type": "array", "items": text(), "minItems": 2, "maxItems": 2 } },
        })),
        "Validated": object(json!({
            "complaints": { "type": "array", "items": object(json!({
                "parameter": text(), "is_fault": flag(), "text": text(),
            })) },
            "said": { "oneOf": [
                object(json!({ "code": { "type": ["integer", "null"] }, "output": text(), "duration_ms": number() })),
                { "type": "null" },
            ] },
        })),
        "FenceKey": object(json!({ "key_base64": text() })),
        "MakeFenceKey": { "type": "object", "properties": { "replace": flag() } },
        "AgentSummaries": list("AgentSummary"),
        "AgentMetadata": object(json!({ "name": text(), "xml": text() })),
    })
}

/// `shared::agents::metadata::AgentSchema`.
fn agent_schema() -> Value {
    let text = || json!({ "type": "string" });
    let perhaps = || json!({ "type": ["string", "null"] });
    let flag = || json!({ "type": "boolean" });
    let texts = || json!({ "type": "object", "description": "By language.", "additionalProperties": text() });
    let kind = json!({ "type": "object", "required": ["kind"], "properties": {
        "kind": { "enum": ["string", "integer", "boolean", "seconds", "select"] },
        "min": { "type": ["integer", "null"] }, "max": { "type": ["integer", "null"] },
        "options": { "type": "array", "items": text() },
    } });
    let parameter = object(json!({
        "name": text(), "type": kind, "default": perhaps(), "required": flag(), "unique_group": perhaps(),
        "secret": flag(), "reloadable": flag(), "deprecated": flag(), "replaced_by": perhaps(),
        "given": { "enum": ["once", "per-node", "per-run"] }, "short": texts(), "long": texts(),
    }));
    let action = object(json!({
        "name": text(), "timeout_ms": { "type": ["integer", "null"] }, "interval_ms": { "type": ["integer", "null"] },
        "depth": { "type": "integer" }, "role": perhaps(), "automatic": flag(), "on_target": flag(),
    }));
    object(json!({
        "class": { "enum": ["resource", "fence"] }, "name": text(), "version": perhaps(), "ocf_version": perhaps(),
        "short": texts(), "long": texts(), "promotable": flag(),
        "aliases": { "type": "array", "items": object(json!({ "name": text(), "short": text() })) },
        "parameters": { "type": "array", "items": parameter }, "actions": { "type": "array", "items": action },
        "remarks": { "type": "array", "items": object(json!({ "parameter": perhaps(), "text": text() })) },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_a_route_names_is_in_the_document() {
        let document = document();
        for route in table() {
            for schema in [route.spec.takes, route.spec.gives.1].into_iter().flatten() {
                assert!(document["components"]["schemas"].get(schema).is_some(), "{schema}");
            }
        }
    }
}
