//! nginx as a process, which forwards TCP.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::balancer::free_place;
use crate::guard::within;

const CONFIG: &str = "
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {}
stream {
    server {
        listen LISTEN;
        proxy_pass APP;
        proxy_protocol on;
    }
}
";

pub struct Nginx {
    _child: Child,
    folder: PathBuf,
    pub addr: SocketAddr,
}

impl Nginx {
    pub async fn start(app: SocketAddr) -> Nginx {
        let addr = free_place().await;
        let folder = format!("nginx-{}", addr.port());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let config = CONFIG
            .replace("FOLDER", folder.to_str().unwrap())
            .replace("LISTEN", &addr.to_string())
            .replace("APP", &app.to_string());
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&file)
            .kill_on_drop(true)
            .spawn()
            .expect("nginx is installed");
        let listens = async {
            while TcpStream::connect(addr).await.is_err() {
                assert!(child.try_wait().unwrap().is_none(), "nginx ended");
                tokio::task::yield_now().await;
            }
        };
        within(listens).await;
        Nginx {
            _child: child,
            folder,
            addr,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
