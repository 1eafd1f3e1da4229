//! Replacing the policies of a running gateway.

use std::sync::atomic::{AtomicBool, Ordering};

use glacier_gateway::domain::Operation;
use glacier_gateway::policy::{LivePolicies, PolicySet, Reload};

use crate::folder::{allow, context, member, policy, vault};
use crate::support::{folder, write};

fn may(set: &PolicySet, name: &str) -> bool {
    let operation = Operation::AbortMultipartUpload;
    set.decide(&member(&["photos"]), operation, vault(name), &context()).is_ok()
}

#[test]
fn a_changed_folder_replaces_the_set_and_a_broken_one_keeps_the_old() {
    let files = folder([("teams/photos.json", policy(&allow("glacier:Abort*", "photos")))]);
    let (live, warnings) = LivePolicies::open(files.path()).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(live.reload_if_changed(), None);

    write(files.path(), "teams/photos.json", &policy(&allow("glacier:Abort*", "video")));
    assert_eq!(live.reload_if_changed(), Some(Reload::Replaced));
    assert!(may(&live.current(), "video") && !may(&live.current(), "photos"));

    write(files.path(), "teams/other.json", "{");
    assert_eq!(live.reload_if_changed(), Some(Reload::Refused));
    assert_eq!(live.reload_if_changed(), None);
    assert!(may(&live.current(), "video"));
    let status = live.status();
    assert_eq!((status.reloads, status.refusals), (1, 1));
    assert_eq!(status.errors[0].file.to_str(), Some("teams/other.json"));

    std::fs::remove_file(files.path().join("teams/other.json")).unwrap();
    assert_eq!(live.reload_if_changed(), Some(Reload::Replaced));
    assert!(live.status().errors.is_empty());
    assert_eq!(live.reload(), Reload::Replaced);
}

#[test]
fn a_configmap_swap_is_seen() {
    let files = folder([
        ("..1/teams/photos.json", policy(&allow("glacier:Abort*", "photos"))),
        ("..2/teams/photos.json", policy(&allow("glacier:Abort*", "video"))),
    ]);
    let link = |from: &str, to: &str| {
        std::os::unix::fs::symlink(from, files.path().join(to)).unwrap();
    };
    link("..1", "..data");
    link("..data/teams", "teams");
    let (live, _) = LivePolicies::open(files.path()).unwrap();
    assert!(may(&live.current(), "photos"));
    // As the kubelet does it: a new link is renamed over the old one.
    link("..2", "..data_tmp");
    std::fs::rename(files.path().join("..data_tmp"), files.path().join("..data")).unwrap();
    assert_eq!(live.reload_if_changed(), Some(Reload::Replaced));
    assert!(may(&live.current(), "video") && !may(&live.current(), "photos"));
}

/// Two files of one set say together: exactly one of the vaults a and b.
#[test]
fn no_reader_sees_a_mixture_of_two_sets() {
    let files = folder([]);
    let write_set = |version: &str, name: &str| {
        let other = if name == "a" { "b" } else { "a" };
        let allowed = policy(&allow("glacier:Abort*", name));
        let mut denied = allow("glacier:Abort*", other);
        denied["Effect"] = "Deny".into();
        write(files.path(), &format!("{version}/teams/photos/1.json"), &allowed);
        write(files.path(), &format!("{version}/teams/photos/2.json"), &policy(&denied));
    };
    write_set("..1", "a");
    write_set("..2", "b");
    let link = |to: &str| {
        let temporary = files.path().join("..data_tmp");
        std::os::unix::fs::symlink(to, &temporary).unwrap();
        std::fs::rename(temporary, files.path().join("..data")).unwrap();
    };
    link("..1");
    std::os::unix::fs::symlink("..data/teams", files.path().join("teams")).unwrap();
    let (live, _) = LivePolicies::open(files.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut seen = [false; 2];
                while !done.load(Ordering::Relaxed) {
                    let set = live.current();
                    let (a, b) = (may(&set, "a"), may(&set, "b"));
                    assert!(a != b, "a mixture: {a} {b}");
                    seen[usize::from(b)] = true;
                }
                seen
            })
        });
        for round in 0..100 {
            link(if round % 2 == 0 { "..2" } else { "..1" });
            assert_eq!(live.reload(), Reload::Replaced);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!(live.status().reloads, 100);
}
