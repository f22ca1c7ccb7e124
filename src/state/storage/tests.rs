//! What every storage does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// No variables.
fn none(_: &str) -> Option<String> {
    None
}

/// Runs `test` over an empty one of each kind.
fn each(test: impl Fn(&dyn Storage)) {
    let directory = tempfile::tempdir().unwrap();
    test(&Local::open(directory.path().join("a/b")).unwrap());
    test(&Faulty::new(1));
    #[cfg(feature = "object-store")]
    for prefix in ["", "a/b"] {
        test(&object::tests::in_memory(prefix));
    }
}

#[test]
fn a_name_is_taken_once() {
    each(|storage| {
        storage.create("tables/a-1.parquet", b"one").unwrap();
        let again = storage.create("tables/a-1.parquet", b"two");
        assert!(matches!(again, Err(StorageError::Exists { name, .. }) if name == "tables/a-1.parquet"));
        assert!(matches!(storage.create_log("tables/a-1.parquet"), Err(StorageError::Exists { .. })));
        assert_eq!(storage.read("tables/a-1.parquet").unwrap().as_deref(), Some(&b"one"[..]));
        storage.create_log("journal/1").unwrap();
        assert!(matches!(storage.create("journal/1", b""), Err(StorageError::Exists { .. })));
        assert!(matches!(storage.create_log("journal/1"), Err(StorageError::Exists { .. })));
        // What is deleted is free again, and may be deleted twice.
        storage.delete("tables/a-1.parquet").unwrap();
        storage.delete("tables/a-1.parquet").unwrap();
        storage.create("tables/a-1.parquet", b"two").unwrap();
    });
}

#[test]
fn of_many_at_once_one_takes_a_name() {
    each(|storage| {
        let won = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8u8)
                .map(|number| scope.spawn(move || (number, storage.create("claims/1", &[number; 4096]))))
                .collect();
            let all = all.into_iter().map(|thread| thread.join().unwrap());
            all.filter_map(|(number, created)| match created {
                Ok(()) => Some(number),
                Err(StorageError::Exists { .. }) => None,
                Err(error) => panic!("{error}"),
            })
            .collect::<Vec<_>>()
        });
        let [won] = won[..] else { panic!("{won:?} took one name") };
        assert_eq!(storage.read("claims/1").unwrap(), Some(vec![won; 4096]));
    });
}

#[test]
fn hostile_names_are_refused() {
    each(|storage| {
        let long = "a/".repeat(450) + "b";
        let wide = "a".repeat(201);
        for name in [
            "", "/a", "a/", "a//b", "..", "a/../b", "./a", ".a", "a/.b", "A", "a b", "a\0", "ä", "a\\b",
            &long, &wide,
        ] {
            let refused = |done: Result<(), StorageError>| matches!(done, Err(StorageError::Name { .. }));
            assert!(refused(storage.create(name, b"")), "{name:?}");
            assert!(refused(storage.create_log(name).map(drop)), "{name:?}");
            assert!(refused(storage.read(name).map(drop)), "{name:?}");
            assert!(refused(storage.read_log(name).map(drop)), "{name:?}");
            assert!(refused(storage.delete(name)), "{name:?}");
        }
        assert_eq!(storage.list("").unwrap(), []);
    });
}

#[test]
fn one_run_holds_it() {
    each(|storage| {
        assert_eq!(storage.holder().unwrap(), None);
        // An object store has no locks.
        let Some(held) = storage.hold("one", false).unwrap() else {
            assert!(!storage.uri().starts_with('/'), "{storage:?} has locks");
            return;
        };
        assert_eq!(storage.holder().unwrap().as_deref(), Some("one"));
        let refused = storage.hold("two", false);
        assert!(matches!(&refused, Err(StorageError::Held { holder, .. }) if holder == "one"), "{refused:?}");
        drop(held);
        assert_eq!(storage.holder().unwrap(), None);
        // What it held when it died does not last, and it is no name.
        let first = storage.hold("three, after it", false).unwrap().expect("it is free");
        let second = storage.hold("four", true).unwrap().expect("it takes over");
        assert_eq!(storage.holder().unwrap().as_deref(), Some("four"));
        drop(first);
        assert!(
            matches!(storage.hold("five", false), Err(StorageError::Held { holder, .. }) if holder == "four")
        );
        drop(second);
        storage.hold("six", true).unwrap().expect("there is nobody to take it from");
        assert_eq!(storage.list("").unwrap(), []);
    });
}

#[test]
fn of_many_at_once_one_holds_it() {
    each(|storage| {
        let held = std::thread::scope(|scope| {
            let all: Vec<_> =
                (0..8).map(|number| scope.spawn(move || storage.hold(&number.to_string(), false))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        if held.iter().all(|held| matches!(held, Ok(None))) {
            assert!(!storage.uri().starts_with('/'), "{storage:?} has locks");
            return;
        }
        assert_eq!(held.iter().filter(|held| held.is_ok()).count(), 1, "{held:?}");
    });
}

#[test]
fn a_log_is_what_was_appended() {
    each(|storage| {
        assert_eq!(storage.read_log("journal/1").unwrap(), None);
        let mut log = storage.create_log("journal/1").unwrap();
        assert_eq!(storage.read_log("journal/1").unwrap(), Some(vec![]));
        let mut all = Vec::new();
        for number in 0..20u8 {
            log.append(&[number; 3]).unwrap();
            log.append(b"").unwrap();
            all.extend([number; 3]);
            if number % 3 == 0 {
                log.sync().unwrap();
            }
        }
        log.sync().unwrap();
        assert_eq!(storage.read_log("journal/1").unwrap(), Some(all.clone()));
        let entry = Entry { name: "journal/1".to_owned(), bytes: all.len() as u64 };
        assert_eq!(storage.list("journal/").unwrap(), [entry]);
        storage.delete("journal/1").unwrap();
        assert_eq!(storage.list("").unwrap(), []);
    });
}

#[test]
fn a_directory_is_opened_by_its_uri() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/state");
    let file = format!("file:{}", path.display());
    open(&file, none).unwrap().create("a", b"1").unwrap();
    let same = open(&format!("file://{}", path.display()), none).unwrap();
    assert_eq!(same.read("a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(open(path.to_str().unwrap(), none).unwrap().list("").unwrap().len(), 1);
    // What nobody named so is none of ours.
    std::fs::write(path.join("Notes.txt"), "x").unwrap();
    assert_eq!(same.list("").unwrap().len(), 1);
    let error = open(path.join("a/b").to_str().unwrap(), none).expect_err("`a` is a file").to_string();
    assert!(error.starts_with("cannot open"), "{error}");
    let error = open("s3x://key:secret@host/x", none).expect_err("there is no such kind").to_string();
    assert!(error.contains("`s3x:` is no place for state") && !error.contains("secret"), "{error}");
}

#[test]
fn a_crash_loses_what_was_not_synced_and_nothing_else() {
    let mut lost = 0;
    for seed in 0..50 {
        let storage = Faulty::new(seed);
        storage.create("a", b"whole").unwrap();
        let mut log = storage.create_log("log").unwrap();
        log.append(b"synced").unwrap();
        log.sync().unwrap();
        log.append(b"not synced").unwrap();
        storage.crash();
        let left = storage.read_log("log").unwrap().unwrap();
        assert!(b"syncednot synced".starts_with(&left) && left.len() >= 6);
        lost += usize::from(left.len() < 16);
        assert_eq!(storage.read("a").unwrap().as_deref(), Some(&b"whole"[..]));
    }
    assert!(lost > 25, "most crashes lose something: {lost}");
}

#[test]
fn each_fault_does_what_it_says() {
    let storage = Faulty::new(3);
    let planned = |fault| storage.plan(storage.operations(), fault);
    planned(Fault::Fails);
    assert!(storage.create("a", b"1").is_err() && storage.read("a").unwrap().is_none());
    planned(Fault::Unacknowledged);
    assert!(storage.create("a", b"1").is_err() && storage.read("a").unwrap().is_some());
    planned(Fault::DiesAfter);
    assert!(storage.create("b", b"1").is_err() && storage.is_dead() && storage.read("b").is_err());
    storage.crash();
    assert!(storage.read("b").unwrap().is_some());
    planned(Fault::Unsynced);
    storage.create("c", b"1").unwrap();
    assert!(storage.read("c").unwrap().is_some());
    storage.crash();
    assert!(storage.read("c").unwrap().is_none());
    let mut log = storage.create_log("log").unwrap();
    planned(Fault::Torn);
    assert!(log.append(&[1; 1000]).is_err() && log.append(b"more").is_err());
    assert!(storage.read_log("log").unwrap().unwrap().len() < 1000);
    storage.limit(0);
    assert!(storage.create("d", b"1").expect_err("it is full").to_string().contains("no space"));
    let faults: Vec<_> = storage.happened().iter().map(|happened| happened.fault).collect();
    let planned = [Fault::Fails, Fault::Unacknowledged, Fault::DiesAfter, Fault::Unsynced, Fault::Torn];
    assert_eq!(faults, planned);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any storage is a map from names to bytes that do not change.
    #[test]
    fn it_is_a_map(steps in prop::collection::vec((0..5u8, 0..6usize, any::<u8>()), 0..40)) {
        const NAMES: [&str; 6] = ["a", "b/a", "b/b", "b/c/d", "b/c-d", "c.d/e"];
        each(|storage| {
            let mut model: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
            for (what, name, number) in &steps {
                let (name, bytes) = (NAMES[*name], vec![*number; usize::from(*number)]);
                match what {
                    0 | 1 => assert_eq!(storage.create(name, &bytes).is_ok(), !model.contains_key(name)),
                    2 => storage.delete(name).unwrap(),
                    3 => assert_eq!(storage.read(name).unwrap().as_ref(), model.get(name)),
                    _ => {
                        let prefix = &name[..name.len() / 2];
                        let expected = model.iter().filter(|(name, _)| name.starts_with(prefix));
                        let entry = |(name, bytes): (&&str, &Vec<u8>)| {
                            Entry { name: (*name).to_owned(), bytes: bytes.len() as u64 }
                        };
                        assert_eq!(storage.list(prefix).unwrap(), expected.map(entry).collect::<Vec<_>>());
                    }
                }
                match what {
                    0 | 1 => { model.entry(name).or_insert(bytes); }
                    2 => { model.remove(name); }
                    _ => {}
                }
            }
        });
    }
}
