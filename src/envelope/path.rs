//! What the paths of containers' logs say of them.

use super::EnvelopeKind;

/// What `path`, that of a log, says of `name`.
///
/// | path | fields |
/// |---|---|
/// | `…/ID/ID-json.log` (Docker) | `container`, the id |
/// | `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` | `pod`, `namespace`, `container`, `id` |
/// | `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/RESTART.log` | `namespace`, `pod`, `uid`, `container`, `restart` |
pub(super) fn field<'a>(kind: EnvelopeKind, path: &'a str, name: &str) -> Option<&'a str> {
    match kind {
        EnvelopeKind::Docker => docker(path, name),
        EnvelopeKind::Cri => container(path, name).or_else(|| pod(path, name)),
        EnvelopeKind::Journald | EnvelopeKind::Syslog => None,
    }
    .filter(|value| !value.is_empty())
}

fn file_name(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn docker<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let (_, file) = file_name(path);
    // Of a rotated one, its number stands behind.
    let (id, _) = file.split_once("-json.log")?;
    (name == "container").then_some(id)
}

fn container<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let (_, file) = file_name(path);
    // Neither pods nor namespaces nor containers have an underscore in their names.
    let (pod, rest) = file.split_once(".log")?.0.split_once('_')?;
    let (namespace, rest) = rest.split_once('_')?;
    let (container, id) = rest.rsplit_once('-')?;
    match name {
        "pod" => Some(pod),
        "namespace" => Some(namespace),
        "container" => Some(container),
        "id" => Some(id),
        _ => None,
    }
}

fn pod<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let (rest, file) = file_name(path);
    let (rest, container) = file_name(rest);
    let (_, names) = file_name(rest);
    let (namespace, pod_uid) = names.split_once('_')?;
    let (pod, uid) = pod_uid.split_once('_')?;
    match name {
        "namespace" => Some(namespace),
        "pod" => Some(pod),
        "uid" => Some(uid),
        "container" => Some(container),
        "restart" => file.split_once(".log").map(|(restart, _)| restart),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_containers() {
        use EnvelopeKind::{Cri, Docker, Syslog};
        let containers = "file:/var/log/containers/web-7d4b_shop_nginx-sidecar-0123abc.log";
        let pods = "file:/var/log/pods/shop_web-7d4b_8a7c-11/nginx/3.log";
        let docker = "file:/var/lib/docker/containers/0123abc/0123abc-json.log";
        for (kind, path, name, value) in [
            (Docker, docker, "container", Some("0123abc")),
            (Docker, "file:/x/0123abc-json.log.1", "container", Some("0123abc")),
            (Docker, docker, "pod", None),
            (Cri, containers, "pod", Some("web-7d4b")),
            (Cri, containers, "namespace", Some("shop")),
            (Cri, containers, "container", Some("nginx-sidecar")),
            (Cri, containers, "id", Some("0123abc")),
            (Cri, pods, "namespace", Some("shop")),
            (Cri, pods, "pod", Some("web-7d4b")),
            (Cri, pods, "uid", Some("8a7c-11")),
            (Cri, pods, "container", Some("nginx")),
            (Cri, pods, "restart", Some("3")),
            (Cri, "file:3.log.20240314-090000", "restart", None),
            (Cri, "stdin:", "pod", None),
            (Syslog, docker, "container", None),
        ] {
            assert_eq!(field(kind, path, name), value, "{path} {name}");
        }
    }
}
