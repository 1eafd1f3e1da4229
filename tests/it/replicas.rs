//! Two gateways that share a PostgreSQL store.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    jobs::stored_in,
    support::{Gateway, client, uploads},
};

/// The entries about aborts in `database`.
async fn entries(cluster: &Cluster, database: &str) -> Vec<Value> {
    let mut admin = cluster.admin(database).await;
    let sql = "SELECT entry FROM audit_entry WHERE kind IN (1, 2, 3) ORDER BY position";
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(sql).fetch_all(&mut admin).await.unwrap();
    rows.into_iter().map(|(entry,)| serde_json::from_slice(&entry).unwrap()).collect()
}

async fn entries_in_time(cluster: &Cluster, database: &str, wanted: usize) -> Vec<Value> {
    for _ in 0..1_200 {
        let found = entries(cluster, database).await;
        if found.len() >= wanted {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no {wanted} entries: {:#?}", entries(cluster, database).await);
}

#[actix_web::test]
async fn a_gateway_that_stood_still_for_too_long_tells_its_outcome_late() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database().await;
    let settings = stored_in(&cluster, &database);
    let stopped = Gateway::with(&settings, &[]);
    let endpoint = ("GATEWAY__AWS__ENDPOINT_URL", stopped.simulator.endpoint.as_str());
    let other = Gateway::with(&settings, &[]).with_environment(&[endpoint]);
    let id = stopped.simulator.seed("own-a", &["x"]).await.remove(0);
    let slow =
        json!({"operation": "AbortMultipartUpload", "latencyMillis": 700, "carriedOut": true});
    stopped.simulator.fault(slow).await;
    let path = format!("{}{}/{id}", stopped.rest, uploads("own-a"));
    let token = stopped.key.token("owner");
    let call = tokio::spawn(client().delete(path).bearer_auth(token).send());
    let sent = |requests: &[Value]| requests.iter().any(|request| request["method"] == "DELETE");
    while !sent(&stopped.simulator.requests().await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stopped.process.signal("STOP");

    let found = entries_in_time(&cluster, &database, 2).await;
    let [intent, outcome] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        (&intent["eventType"], &outcome["eventType"]),
        (&json!("Intent"), &json!("Outcome"))
    );
    assert_eq!(outcome["outcome"], "gone");
    assert_eq!(outcome["additionalEventData"]["recovered"], true);

    stopped.process.signal("CONT");
    call.await.unwrap().unwrap();
    let found = entries_in_time(&cluster, &database, 3).await;
    let [_, outcome, late] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(late["eventType"], "LateOutcome");
    assert_eq!(late["eventID"], outcome["eventID"]);
    assert_eq!(late["additionalEventData"], Value::Null);

    // Both serve on.
    let id = stopped.simulator.seed("own-b", &["x"]).await.remove(0);
    let path = format!("{}/{id}", uploads("own-b"));
    stopped.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    assert_eq!(
        other.call_with(&other.key.token("owner"), Method::DELETE, &path).await.status(),
        204
    );
    let found = entries_in_time(&cluster, &database, 5).await;
    assert_eq!(found[4]["outcome"], "aborted");
}

#[actix_web::test]
async fn a_change_of_a_replica_that_lives_is_left_to_it() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database().await;
    let settings = stored_in(&cluster, &database);
    let slow = ["READ_TIMEOUT", "ATTEMPT_TIMEOUT", "OPERATION_TIMEOUT"];
    let slow = slow.map(|name| format!("GATEWAY__AWS__{name}"));
    let first =
        Gateway::with(&settings, &[]).with_environment(&slow.each_ref().map(|n| (&**n, "10m")));
    let endpoint = ("GATEWAY__AWS__ENDPOINT_URL", first.simulator.endpoint.as_str());
    let _other = Gateway::with(&settings, &[]).with_environment(&[endpoint]);
    let id = first.simulator.seed("own-a", &["x"]).await.remove(0);
    let hang = json!({"operation": "AbortMultipartUpload", "effect": "hang"});
    first.simulator.fault(hang).await;
    let path = format!("{}{}/{id}", first.rest, uploads("own-a"));
    let call = tokio::spawn(client().delete(path).bearer_auth(first.key.token("owner")).send());
    entries_in_time(&cluster, &database, 1).await;

    // Both are heard of for longer than it takes to be counted as gone, which is 30 seconds.
    let mut admin = cluster.admin(&database).await;
    let heard = "SELECT count(*) FROM replica, audit_entry \
                 WHERE kind = 1 AND seen > audit_entry.at + 40000000";
    for waited in 0.. {
        let living: i64 = sqlx::query_scalar(heard).fetch_one(&mut admin).await.unwrap();
        if living == 2 {
            break;
        }
        assert!(waited < 2_400, "{living} replicas tell that they live");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let found = entries(&cluster, &database).await;
    assert_eq!(found.len(), 1, "the other one has settled it: {found:#?}");
    call.abort();
}
