//! A server that is not where the command line looks for it, and the usage below its errors.

use crate::support::{Engine, Program, cloudly, output};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server of something else, which answers everything with this.
async fn other_server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

async fn error_at(program: &Program, url: &str) -> String {
    let output = output(cloudly(&program.dir).args(["node", "list", "--url", url])).await;
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn an_address_with_another_scheme_or_path_is_told_with_what_would_be_right() {
    const PAGE: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    const MOVED: &str = "HTTP/1.1 301 Moved Permanently\r\nlocation: https://cloudly.example/\r\ncontent-length: 0\r\n\
                         connection: close\r\n\r\n";
    let program = Program::start(Engine::Sqlite).await;
    let ftp = error_at(&program, "ftp://cloudly.example").await;
    assert!(
        ftp.contains("by https or http, not by ftp; use e.g. https://cloudly.example.com"),
        "{ftp}"
    );
    let page = other_server(PAGE).await;
    let below = error_at(&program, &format!("{page}/some/path")).await;
    assert!(
        below.contains("an answer that is not Cloudly's (HTTP 200 OK)")
            && below.contains("without a path; leave `/some/path` out"),
        "{below}"
    );
    let alone = error_at(&program, &page).await;
    assert!(alone.contains("does Cloudly listen there?"), "{alone}");
    let moved = error_at(&program, &other_server(MOVED).await).await;
    assert!(
        moved.contains("it redirects to https://cloudly.example/"),
        "{moved}"
    );
}

#[tokio::test]
async fn the_usage_below_an_error_asks_for_no_option_that_a_variable_sets() {
    let program = Program::start(Engine::Sqlite).await;
    for (args, usage) in [
        (
            &["desired", "set", "--commit", "c0ffee1"][..],
            "Usage: cloudly desired set [OPTIONS] <--commit <COMMIT>|--none> <--all|--node <NODE>>\n",
        ),
        (&["node", "show"], "Usage: cloudly node show [OPTIONS] <NODE>\n"),
        (
            &["node", "list", "--unknown"],
            "Usage: cloudly node list [OPTIONS]\n",
        ),
    ] {
        let mut command = cloudly(&program.dir);
        command
            .env("CLOUDLY_URL", "http://127.0.0.1:1")
            .env("CLOUDLY_ALLOW_HTTP", "1");
        let output = output(command.args(args)).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(usage), "{args:?}: {error}");
        assert_eq!(output.status.code(), Some(2));
    }
}
