//! Why and what-if through ricci: the engine's own words, from the member that is asked; silence and refusals told apart.

use crate::support::{FakeRgmanager, Node, problem};
use reqwest::StatusCode;
use serde_json::json;
use shared::api::ProblemCode;
use shared::ids::{NodeName, ServiceName};
use shared::socket::{Ask, Reply};
use shared::status::Reason;
use shared::text::ServiceState;
use shared::why::{Assumption, Explanation, Outcome, PredictedChange, Prediction, Test};

fn explanation() -> Explanation {
    Explanation {
        service: ServiceName::parse("web"),
        state: ServiceState::Recovering,
        owner: None,
        reason: Reason::OwnerFenced { node: NodeName("n1".into()) },
        tests: vec![Test::AllFenced { waits_for: vec![NodeName("n1".into())] }],
        nodes: Vec::new(),
    }
}

fn prediction() -> Prediction {
    let change = PredictedChange {
        service: ServiceName::parse("web"),
        from: (ServiceState::Started, Some(NodeName("n1".into()))),
        to: (ServiceState::Started, Some(NodeName("n2".into()))),
        reason: Reason::OwnerFenced { node: NodeName("n1".into()) },
    };
    Prediction { refused: None, steps: Vec::new(), changes: vec![change] }
}

#[tokio::test]
async fn a_service_is_explained_in_the_words_of_the_engine() {
    let node = Node::start();
    let manager = node.paired().await;
    problem(manager.get(&node, "/v1/services/service:web/why").await, 503, ProblemCode::ClusterNotRunning).await;
    let rgmanager = FakeRgmanager::listen(&node, |ask| match ask {
        Ask::Explain { service } if service.as_str() == "service:web" => {
            vec![Reply::Explanation { explanation: Box::new(explanation()) }]
        }
        Ask::Explain { service } => vec![Reply::Error { text: format!("there is no {service} here") }],
        _ => Vec::new(),
    });
    // A bare name is a service's, as on the command line.
    for name in ["service:web", "web", "service%3Aweb"] {
        let answer = manager.get(&node, &format!("/v1/services/{name}/why")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        let told: Explanation = answer.json().await.unwrap();
        assert_eq!(told, explanation());
        assert_eq!(told.tests[0].outcome(), Outcome::Blocks);
    }
    let none = problem(manager.get(&node, "/v1/services/mail/why").await, 404, ProblemCode::NotFound).await;
    assert!(none.text.contains("there is no service:mail"), "{}", none.text);
    assert_eq!(rgmanager.asked().len(), 4);
}

#[tokio::test]
async fn all_services_are_explained_for_one_node() {
    let node = Node::start();
    let manager = node.paired().await;
    let rgmanager = FakeRgmanager::listen(&node, |ask| match ask {
        Ask::ExplainNode { node } if node.as_str() == "n1" => {
            vec![Reply::Explanations { explanations: vec![explanation()] }]
        }
        _ => vec![Reply::Error { text: "the question cannot be read".into() }],
    });
    let told: Vec<Explanation> = manager.get(&node, "/v1/nodes/n1/why").await.json().await.unwrap();
    assert_eq!(told, [explanation()]);
    // An rgmanager of before, which has not been restarted: luci asks it in the old way.
    problem(manager.get(&node, "/v1/nodes/n2/why").await, 404, ProblemCode::NotFound).await;
    assert_eq!(rgmanager.asked().len(), 2);
}

#[tokio::test]
async fn an_assumption_is_predicted_and_a_silent_rgmanager_is_told() {
    let node = Node::start();
    let manager = node.paired().await;
    let rgmanager = FakeRgmanager::listen(&node, |ask| match ask {
        Ask::Predict { assumption: Assumption::NodeLost { .. } } => {
            vec![Reply::Prediction { prediction: Box::new(prediction()) }]
        }
        _ => Vec::new(),
    });
    let answer = manager.post(&node, "/v1/predict", &json!({ "if": "node-lost", "node": "n1" })).await;
    assert_eq!(answer.json::<Prediction>().await.unwrap(), prediction());
    let asked = Ask::Predict { assumption: Assumption::NodeLost { node: NodeName("n1".into()) } };
    assert_eq!(rgmanager.asked(), [asked]);
    let silent = manager.post(&node, "/v1/predict", &json!({ "if": "conf", "text": "<cluster/>" })).await;
    problem(silent, 504, ProblemCode::Timeout).await;
    let unknown = manager.post(&node, "/v1/predict", &json!({ "if": "the-moon-falls" })).await;
    problem(unknown, 400, ProblemCode::BadRequest).await;
    let long = "x".repeat(2 * 1024 * 1024);
    let long = manager.post(&node, "/v1/predict", &json!({ "if": "conf", "text": long })).await;
    problem(long, 413, ProblemCode::TooLarge).await;
}
