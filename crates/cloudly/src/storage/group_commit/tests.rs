use super::*;
use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;

const LONGEST: u32 = 200;

struct Fixture {
    _dir: TempDir,
    options: AnyConnectOptions,
    line: Arc<WriteQueue>,
    metrics: DatabaseMetrics,
}

impl Fixture {
    async fn new() -> Self {
        sqlx::any::install_default_drivers();
        let dir = tempfile::tempdir().unwrap();
        let options = sqlite::options(&dir.path().join("test.db")).unwrap();
        let mut first = connect(&options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE numbers (number INTEGER PRIMARY KEY, text TEXT)")
            .execute(&mut first)
            .await
            .unwrap();
        let metrics = DatabaseMetrics::default();
        let sessions = Arc::<SessionCache>::default();
        let line = WriteQueue::open(options.clone(), LONGEST, sessions, metrics.clone()).await;
        Self {
            _dir: dir,
            options,
            line: line.unwrap(),
            metrics,
        }
    }

    /// The numbers that are stored, as another connection reads them.
    async fn stored(&self) -> BTreeSet<i64> {
        let mut reader = connect(&self.options).await.unwrap();
        let rows = sqlx::query_scalar("SELECT number FROM numbers").fetch_all(&mut reader);
        rows.await.unwrap().into_iter().collect()
    }

    /// Lets all tasks run until so many stand in line.
    async fn until_waiting(&self, waiting: i64) {
        while self.metrics.waiting.get() < waiting {
            tokio::task::yield_now().await;
        }
    }
}

async fn insert(turn: &mut Turn, number: i64, text: &str) -> Result<()> {
    sqlx::query("INSERT INTO numbers (number, text) VALUES ($1, $2)")
        .bind(number)
        .bind(text)
        .execute(turn.connection_mut())
        .await?;
    Ok(())
}

fn write(line: &Arc<WriteQueue>, number: i64) -> JoinHandle<Result<()>> {
    let line = Arc::clone(line);
    tokio::spawn(async move {
        let mut turn = line.turn().await?;
        insert(&mut turn, number, "small").await?;
        turn.commit(Touched::Nothing).await
    })
}

#[tokio::test]
async fn those_who_wait_are_committed_together() {
    let fixture = Fixture::new().await;
    let mut first = fixture.line.turn().await.unwrap();
    let others: Vec<_> = (1..=100).map(|number| write(&fixture.line, number)).collect();
    fixture.until_waiting(100).await;
    insert(&mut first, 0, "first").await.unwrap();
    first.commit(Touched::Nothing).await.unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(fixture.stored().await, (0..=100).collect());
    assert!(
        fixture.metrics.commits.get() <= 3,
        "{}",
        fixture.metrics.commits.get()
    );
}

#[tokio::test]
async fn nobody_is_answered_before_the_commit() {
    let fixture = Fixture::new().await;
    for number in 0..20 {
        write(&fixture.line, number).await.unwrap().unwrap();
        assert!(fixture.stored().await.contains(&number));
    }
}

#[tokio::test]
async fn what_one_gives_up_is_undone_and_the_others_stay() {
    let fixture = Fixture::new().await;
    let mut given_up = fixture.line.turn().await.unwrap();
    let before = write(&fixture.line, 1);
    fixture.until_waiting(1).await;
    insert(&mut given_up, 0, "given up").await.unwrap();
    drop(given_up);
    before.await.unwrap().unwrap();
    let mut refused = fixture.line.turn().await.unwrap();
    let after = write(&fixture.line, 2);
    insert(&mut refused, 1, "there already").await.unwrap_err();
    drop(refused);
    after.await.unwrap().unwrap();
    assert_eq!(fixture.stored().await, BTreeSet::from([1, 2]));
}

/// SQLite rolls back the whole transaction when the disk is full: everybody in it is told.
#[tokio::test]
async fn who_is_told_that_it_is_stored_finds_it_stored_also_when_the_transaction_is_lost() {
    let fixture = Fixture::new().await;
    let mut small = fixture.line.turn().await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 1")
        .execute(small.connection_mut())
        .await
        .unwrap();
    let line = Arc::clone(&fixture.line);
    let large = tokio::spawn(async move {
        let mut turn = line.turn().await?;
        insert(&mut turn, 1, &"x".repeat(1 << 20)).await?;
        turn.commit(Touched::Nothing).await
    });
    let last = write(&fixture.line, 2);
    fixture.until_waiting(2).await;
    insert(&mut small, 0, "small").await.unwrap();
    let answers = [
        small.commit(Touched::Nothing).await,
        large.await.unwrap(),
        last.await.unwrap(),
    ];
    assert!(answers[1].is_err());
    let stored = fixture.stored().await;
    for (number, answer) in (0..).zip(&answers) {
        assert_eq!(answer.is_ok(), stored.contains(&number), "{number}: {answer:?}");
    }
    write(&fixture.line, 3).await.unwrap().unwrap();
    assert!(fixture.stored().await.contains(&3), "and it goes on");
}

/// Requests are given up at any moment.
#[tokio::test]
async fn whoever_is_aborted_costs_nobody_else_anything() {
    let fixture = Fixture::new().await;
    fastrand::seed(7);
    let mut expected = BTreeSet::new();
    for round in 0..40i64 {
        let tasks: Vec<_> = (0..10)
            .map(|n| (round * 10 + n, write(&fixture.line, round * 10 + n)))
            .collect();
        for _ in 0..fastrand::usize(0..60) {
            tokio::task::yield_now().await;
        }
        for (number, task) in tasks {
            if fastrand::u8(0..3) == 0 {
                task.abort();
            } else {
                let answer = timeout(Duration::from_secs(60), task).await;
                answer.expect("nobody waits for ever").unwrap().unwrap();
                expected.insert(number);
            }
        }
    }
    assert!(fixture.stored().await.is_superset(&expected));
}

#[tokio::test]
async fn too_long_a_line_refuses_at_once() {
    let fixture = Fixture::new().await;
    let turn = fixture.line.turn().await.unwrap();
    let waiting: Vec<_> = (0..LONGEST.into())
        .map(|number| write(&fixture.line, number))
        .collect();
    fixture.until_waiting(LONGEST.into()).await;
    assert!(matches!(fixture.line.turn().await, Err(Error::Overloaded)));
    turn.commit(Touched::Nothing).await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    write(&fixture.line, 1000).await.unwrap().unwrap();
    assert_eq!(fixture.metrics.waiting.get(), 0);
}

#[tokio::test]
async fn nobody_stands_in_line_for_ever() {
    let fixture = Fixture::new().await;
    let turn = fixture.line.turn().await.unwrap();
    tokio::time::pause();
    let refused = fixture.line.turn().await;
    tokio::time::resume();
    assert!(matches!(refused, Err(Error::Overloaded)));
    turn.commit(Touched::Nothing).await.unwrap();
    write(&fixture.line, 1).await.unwrap().unwrap();
}

/// What a future of many steps comes to; `None`: it was given up after so many steps.
async fn given_up_after<F: Future>(steps: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = steps;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => {
            // SQLite's own thread goes on, and does what it was asked.
            std::thread::sleep(Duration::from_millis(5));
            Poll::Ready(None)
        }
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn whoever_gives_up_while_the_turn_begins_costs_nobody_else_anything() {
    for steps in 1..12 {
        let fixture = Fixture::new().await;
        let first = fixture.line.turn().await.unwrap();
        let before = write(&fixture.line, 1);
        fixture.until_waiting(1).await;
        let line = Arc::clone(&fixture.line);
        let dropped = tokio::spawn(async move {
            let mut turn = line.turn().await.unwrap();
            insert(&mut turn, 2, "given up").await.unwrap();
        });
        fixture.until_waiting(2).await;
        let line = Arc::clone(&fixture.line);
        let given_up = tokio::spawn(async move {
            given_up_after(steps, line.turn()).await;
        });
        fixture.until_waiting(3).await;
        let after = write(&fixture.line, 3);
        fixture.until_waiting(4).await;
        first.commit(Touched::Nothing).await.unwrap();
        dropped.await.unwrap();
        given_up.await.unwrap();
        for other in [before, after] {
            let answer = other.await.unwrap();
            assert!(answer.is_ok(), "after {steps} steps: {answer:?}");
        }
        assert_eq!(fixture.stored().await, BTreeSet::from([1, 3]));
    }
}

#[tokio::test]
async fn whoever_gives_up_while_it_commits_costs_nobody_else_anything() {
    for steps in 0..6 {
        let fixture = Fixture::new().await;
        let first = fixture.line.turn().await.unwrap();
        let before = write(&fixture.line, 1);
        fixture.until_waiting(1).await;
        let line = Arc::clone(&fixture.line);
        let given_up = tokio::spawn(async move {
            let mut turn = line.turn().await.unwrap();
            insert(&mut turn, 2, "given up").await.unwrap();
            given_up_after(steps, turn.commit(Touched::Nothing)).await;
        });
        fixture.until_waiting(2).await;
        let after = write(&fixture.line, 3);
        fixture.until_waiting(3).await;
        first.commit(Touched::Nothing).await.unwrap();
        given_up.await.unwrap();
        for other in [before, after] {
            let answer = other.await.unwrap();
            assert!(answer.is_ok(), "after {steps} steps: {answer:?}");
        }
        assert!(fixture.stored().await.is_superset(&BTreeSet::from([1, 3])));
    }
}

/// Who changes nothing may answer by what others wrote before.
#[tokio::test]
async fn whoever_gives_up_after_reading_what_is_not_committed_is_told_when_it_is_lost() {
    let fixture = Fixture::new().await;
    let mut first = fixture.line.turn().await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 1")
        .execute(first.connection_mut())
        .await
        .unwrap();
    let written = write(&fixture.line, 1);
    fixture.until_waiting(1).await;
    let line = Arc::clone(&fixture.line);
    let reads = tokio::spawn(async move {
        let mut turn = line.turn().await?;
        let found: Option<i64> = sqlx::query_scalar("SELECT number FROM numbers WHERE number = 1")
            .fetch_optional(turn.connection_mut())
            .await?;
        turn.rollback().await?;
        Ok::<_, Error>(found)
    });
    fixture.until_waiting(2).await;
    let line = Arc::clone(&fixture.line);
    let large = tokio::spawn(async move {
        let mut turn = line.turn().await?;
        insert(&mut turn, 2, &"x".repeat(1 << 20)).await?;
        turn.commit(Touched::Nothing).await
    });
    fixture.until_waiting(3).await;
    first.commit(Touched::Nothing).await.unwrap();
    written.await.unwrap().unwrap_err();
    large.await.unwrap().unwrap_err();
    assert!(fixture.stored().await.is_empty());
    let read = reads.await.unwrap();
    assert!(read.is_err(), "it answers by what is not stored: {read:?}");
}
