//! What the store keeps of the uploads that were seen.

use glacier_gateway::{
    domain::{UploadId, VaultArn},
    glacier::Upload,
    inventory::{parts::Observation, seen},
    store::Store,
};

use crate::support::{Place, query};

fn vault() -> VaultArn {
    VaultArn::parse("arn:aws:glacier:eu-central-1:111122223333:vaults/photos").unwrap()
}

fn id() -> UploadId {
    "-upload".parse().unwrap()
}

/// A look at the upload that finds these parts.
fn found(parts: u8) -> Observation {
    let upload = Upload {
        upload_id: id().to_string(),
        vault_arn: vault().to_string(),
        archive_description: Some("=holiday".to_owned()),
        part_size_in_bytes: 1 << 20,
        creation_date: "2026-11-01T00:00:00.000Z".to_owned(),
    };
    let (created, parts) = (1_793_491_200_000_000, i64::from(parts));
    Observation { upload, created, parts, bytes: parts << 20, digest: [parts as u8; 32] }
}

/// Looks at the upload, and gives when the look began.
async fn look(store: &Store, parts: u8) -> i64 {
    let begun = seen::now(store).await.unwrap();
    seen::observed(store, &vault(), begun, &found(parts)).await.unwrap();
    begun
}

/// `parts`, `first_seen`, `last_seen`, `changed`, `gone`.
type Seen = (i64, i64, i64, i64, Option<i64>);

async fn row(place: &Place) -> Seen {
    let sql = "SELECT parts, first_seen, last_seen, changed, gone FROM upload_seen";
    let rows: Vec<Seen> = query!(place, sql);
    assert_eq!(rows.len(), 1);
    rows[0]
}

crate::support::on_both! {
    async fn an_upload_has_changed_when_a_look_finds_other_parts(place: Place) {
        let store = place.open().await;
        let first = look(&store, 1).await;
        let (_, first_seen, last_seen, changed, _) = row(&place).await;
        assert_eq!((first_seen, last_seen), (first, first));
        assert!(changed >= first);

        let second = look(&store, 1).await;
        assert_eq!(row(&place).await, (1, first, second, changed, None));

        let third = look(&store, 2).await;
        let (parts, _, _, changed_again, _) = row(&place).await;
        assert!(parts == 2 && changed_again >= third, "it changed during the third look");
    }

    async fn an_upload_that_glacier_does_not_know_is_gone_unless_it_was_seen_since(place: Place) {
        let store = place.open().await;
        let before = seen::now(&store).await.unwrap();
        let late = look(&store, 1).await;
        seen::gone(&store, &vault(), &id(), before - 1).await.unwrap();
        assert_eq!(row(&place).await.4, None, "somebody has seen it since");
        seen::gone(&store, &vault(), &id(), late).await.unwrap();
        let gone = row(&place).await.4.unwrap();
        assert!(gone >= late);

        // What an earlier look found is told late.
        seen::observed(&store, &vault(), late - 1, &found(1)).await.unwrap();
        assert_eq!(row(&place).await.4, Some(gone));
        seen::observed(&store, &vault(), gone + 1, &found(1)).await.unwrap();
        assert_eq!(row(&place).await.4, None, "it is there again");
    }
}
