//! Authorities and what they sign, made with the `openssl` command.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub enum Valid {
    Now,
    Expired,
    Later,
}

/// An authority, with a directory that holds what it signs.
pub struct Authority(tempfile::TempDir);

impl Authority {
    pub fn new() -> Self {
        static FOUNDED: AtomicU32 = AtomicU32::new(0);
        Self::named(&format!("authority{}", FOUNDED.fetch_add(1, Ordering::Relaxed)))
    }

    /// One that is called `name`, like others, perhaps.
    pub fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("index", "");
        write("serial", "01\n");
        write(
            "settings",
            "[ca]\ndefault_ca=it\n[it]\ndir=.\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\n\
             policy=any\nunique_subject=no\n[any]\ncommonName=optional\n",
        );
        let authority = Authority(dir);
        let request = format!("req -x509 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN={name}");
        authority.openssl(&format!("{request} -addext subjectAltName=DNS:{name}"), &NEW);
        authority
    }

    /// Runs `openssl` in the directory.
    fn openssl(&self, args: &str, more: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(args.split_whitespace()).args(more).current_dir(self.0.path());
        let output = command.output().unwrap_or_else(|error| panic!("openssl: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The file called `name`.
    pub fn file(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().expect("a plain name")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A certificate of `/CN=NAME` for the host `host`, as `NAME.pem` with its key as `NAME.key`.
    pub fn sign(&self, name: &str, host: &str, valid: Valid) {
        let (from, to) = match valid {
            Valid::Now => ("20240101000000Z", "20491231000000Z"),
            Valid::Expired => ("20240101000000Z", "20240201000000Z"),
            Valid::Later => ("20480101000000Z", "20491231000000Z"),
        };
        std::fs::write(self.path("for"), format!("subjectAltName=DNS:{host}\n")).expect("written");
        self.openssl(&format!("req -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"), &NEW);
        self.openssl(
            &format!(
                "ca -batch -notext -config settings -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem \
                 -startdate {from} -enddate {to} -extfile for"
            ),
            &[],
        );
    }

    /// A certificate that has signed itself.
    pub fn itself(&self, name: &str, host: &str) {
        let request =
            format!("req -x509 -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}");
        let more = format!("-addext subjectAltName=DNS:{host} -addext basicConstraints=critical,CA:FALSE");
        self.openssl(&format!("{request} {more}"), &NEW);
    }

    /// The key of `name`, once more, with a passphrase.
    pub fn lock(&self, name: &str) {
        self.openssl(&format!("pkey -in {name}.key -aes128 -passout pass:hush -out {name}.locked"), &[]);
    }
}

const NEW: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
