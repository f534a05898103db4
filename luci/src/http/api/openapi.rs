//! The OpenAPI document, made of the table of routes: an address that is not served cannot stand in it, and one that is
//! served cannot be missing.

use axum::Json;
use serde_json::{Map, Value, json};

use crate::app::AppError;
use crate::http::door::{Asked, Doc, Route, Rule};

/// The schemas of all bodies.
const SCHEMAS: &str = include_str!("schemas.json");

/// What a rule asks of a token.
fn needs(rule: Rule) -> String {
    match rule {
        Rule::Open => "Open to everybody.".into(),
        Rule::Entering | Rule::Account => "Every account; tells only what it may see.".into(),
        Rule::Luci(role) => format!("Needs the role {} everywhere.", role.name()),
        Rule::Cluster(role) | Rule::Task(role) => format!("Needs the role {} on the cluster.", role.name()),
    }
}

fn content(schema: &str) -> Value {
    let kind = if schema == "Stream" { "text/event-stream" } else { "application/json" };
    json!({ kind: { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

fn operation(route: &Route, doc: &Doc) -> Value {
    let places = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        places.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = doc.query.iter().map(
        |Asked { name, kind, says, required }| {
            json!({ "name": name, "in": "query", "required": required, "description": says, "schema": { "type": kind } })
        },
    );
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut answer = json!({ "description": doc.summary });
    if doc.answer != "None" {
        answer["content"] = content(doc.answer);
    }
    let problem = json!({
        "description": "Not done",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut operation = json!({
        "summary": doc.summary,
        "description": needs(route.rule),
        "parameters": parameters,
        "responses": { doc.status.to_string(): answer, "default": problem },
    });
    if let Some(body) = doc.body {
        operation["requestBody"] = json!({ "required": true, "content": content(body) });
    }
    if route.rule == Rule::Open {
        operation["security"] = json!([]);
    }
    operation
}

/// The whole document.
pub(crate) fn build(routes: &[Route]) -> Result<Value, AppError> {
    let schemas: Value = serde_json::from_str(SCHEMAS).map_err(|error| AppError::Internal(error.to_string()))?;
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let Some(doc) = &route.doc else { continue };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route, doc);
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "luci",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that the console does for clusters, nodes, services, fencing and configurations. \
                            Send a token as `Authorization: Bearer …`; repeat changing requests safely with an \
                            `Idempotency-Key`. Times are milliseconds since the UNIX epoch.",
        },
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": crate::http::SESSION_COOKIE },
            },
            "schemas": schemas,
        },
    }))
}

pub(super) async fn document() -> super::Answer<Json<Value>> {
    Ok(Json(build(&crate::http::routes())?))
}
