//! Files of the command: certificates, keys and configurations.

use std::fs;
use std::path::PathBuf;

use crate::certs::Authority;
use crate::fixture::echo;
use crate::programs::Daemon;

/// Files of an authority, of a server and of a client, removed at the end.
pub struct Files {
    pub folder: PathBuf,
    authority: Authority,
}

impl Files {
    pub fn new(name: &str) -> Files {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{name}"));
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new();
        let files = Files { folder, authority };
        files.write("ca.pem", &files.authority.pem());
        for name in ["127.0.0.1", "client", "else.where"] {
            files.certify(name);
        }
        let (certificate, key) = files.authority.certify_pem_of_2020("127.0.0.1");
        files.write("old.pem", &certificate);
        files.write("old.key", &key);
        files
    }

    /// Writes a certificate and its key, new ones where they are there.
    pub fn certify(&self, name: &str) {
        let (certificate, key) = self.authority.certify_pem(name);
        self.write(&format!("{name}.pem"), &certificate);
        self.write(&format!("{name}.key"), &key);
    }

    /// The same, with a URI in place of a DNS name.
    pub fn certify_uri(&self, name: &str, uri: &str) {
        let (certificate, key) = self.authority.certify_pem_of_uri(uri);
        self.write(&format!("{name}.pem"), &certificate);
        self.write(&format!("{name}.key"), &key);
    }

    /// Writes a file, in which `@` is not replaced.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Arguments in which `@` stands for the folder.
    pub fn args(&self, args: &str) -> String {
        args.replace('@', &format!("{}/", self.folder.display()))
    }

    pub async fn serve(&self, args: &str) -> Daemon {
        let to = echo().await;
        Daemon::start(&self.args(&format!("serve --to {to} {args}"))).await
    }

    pub async fn relay(&self, serve: &Daemon, args: &str) -> Daemon {
        Daemon::start(&self.args(&format!("relay --to {} {args}", serve.addr))).await
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
